<?php
// php install.php FOLDER: installs the WordPress in that folder, and writes what the tests ask for. What they have to know
// of it is printed as JSON.
define( 'WP_INSTALLING', true );
$_SERVER += array(
	'HTTP_HOST'       => 'wp.example',
	'REQUEST_METHOD'  => 'GET',
	'REQUEST_URI'     => '/',
	'SERVER_PROTOCOL' => 'HTTP/1.1',
	'SERVER_SOFTWARE' => 'nginx',
);

// In place of the installer's, which sends a mail.
function wp_new_blog_notification() {}

require $argv[1] . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

// Otherwise the installer tries permalinks by asking the site, which is not there yet.
$permalinks = function () {
	return '/%postname%/';
};
add_filter( 'pre_option_permalink_structure', $permalinks );
wp_install( 'The Daily Cache', 'editor', 'editor@wp.example', true, '', 'editor' );
remove_filter( 'pre_option_permalink_structure', $permalinks );
wp_installing( false );
$GLOBALS['wp_rewrite']->set_permalink_structure( '/%postname%/' );
// Made anew by the first request, which knows of all taxonomies.
delete_option( 'rewrite_rules' );

function swrcache_post( $title, array $more = array() ) {
	$post = array(
		'post_title'   => $title,
		'post_content' => "<!-- wp:paragraph --><p>The text of $title.</p><!-- /wp:paragraph -->",
		'post_status'  => 'publish',
		'post_author'  => 1,
	);
	return wp_insert_post( $more + $post, false );
}

$news = wp_insert_term( 'News', 'category' )['term_id'];
for ( $n = 1; $n <= 8; $n++ ) {
	swrcache_post( "Article $n", array( 'post_category' => array( $news ) ) );
}
swrcache_post( 'Secret', array( 'post_password' => 'sesame', 'post_content' => 'text-behind-the-password' ) );
$draft = swrcache_post( 'Draft', array( 'post_status' => 'draft', 'post_content' => 'text-of-the-draft' ) );
for ( $n = 0; $n < 5; $n++ ) {
	$user = array(
		'user_login'   => "member$n",
		'user_pass'    => "member$n",
		'user_email'   => "member$n@wp.example",
		'display_name' => "name-of-member-$n-",
		'role'         => $n < 2 ? 'editor' : 'subscriber',
	);
	wp_insert_user( $user );
}

echo wp_json_encode( array( 'draft' => $draft, 'news' => $news ) );
